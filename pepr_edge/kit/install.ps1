# Install pepr-edge into the folder "pepr" beside this file. This needs no network and no administrator.
foreach ($version in "{{versions}}".Split(" ")) {
    foreach ($command in @(@("py", "-$version"), @("python"))) {
        if (-not (Get-Command $command[0] -ErrorAction SilentlyContinue)) { continue }
        $options = @($command | Select-Object -Skip 1)
        $found = & $command[0] @options -I -c "import sys; print('%d.%d' % sys.version_info[:2])"
        if ($found -eq $version) {
            & $command[0] @options -I (Join-Path $PSScriptRoot "install.py")
            exit $LASTEXITCODE
        }
    }
}
Write-Host ("error: this kit needs Python {{pythons}} (64 bit), but this computer has none. Install it from " +
    "python.org, or ask for a kit made for your Python (option --python).")
exit 1
