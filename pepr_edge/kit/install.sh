#!/bin/sh
# Install pepr-edge into the folder "pepr" beside this file. This needs no network and no administrator.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
for version in {{versions}}; do
    for python in "python$version" python3 python; do
        if [ "$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
            exec "$python" -I "$here/install.py"
        fi
    done
done
echo "error: this kit needs Python {{pythons}}, but this computer has $(python3 -V 2>&1 || echo none)." \
    "Install Python {{pythons}}, or ask for a kit made for your Python (option --python)." >&2
exit 1
