#!/bin/bash
# Installs those packages of packages.txt that are missing; silent when there are none.
set -eu
cd "$(dirname "$0")/.."
if ! command -v dpkg-query >/dev/null; then
        echo "this is not Debian: what packages.txt names must be there under its own names" >&2
        exit 0
fi
missing=()
while read -r package; do
        [[ -z "$package" || "$package" == \#* ]] && continue
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done <packages.txt
[[ ${#missing[@]} -eq 0 ]] && exit 0
if [[ $EUID -ne 0 ]]; then
        echo "these packages are missing: ${missing[*]}; run \"make packages\" as root, or install them" >&2
        exit 1
fi
echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}" ||
       { apt-get update && apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"; }; } >"$log" 2>&1; then
        tail -20 "$log" >&2
        echo "apt-get could not install them; see $log" >&2
        exit 1
fi
rm -f "$log"
