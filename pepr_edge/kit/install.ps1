# Installs pepr-edge into the folder "pepr" beside this file. Needs no network and no administrator.
foreach ($version in "{{versions}}".Split(" ")) {
    foreach ($words in @(@("py", "-$version"), @("python"))) {
        if (-not (Get-Command $words[0] -ErrorAction SilentlyContinue)) { continue }
        $rest = @($words | Select-Object -Skip 1)
        $found = & $words[0] @rest -c "import sys; print('%d.%d' % sys.version_info[:2])"
        if ($found -eq $version) {
            & $words[0] @rest (Join-Path $PSScriptRoot "install.py")
            exit $LASTEXITCODE
        }
    }
}
Write-Host "error: this kit needs Python {{pythons}} (64 bit) and finds none. Install it from python.org, or have the kit made for yours (--python)."
exit 1
