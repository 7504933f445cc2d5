#!/usr/bin/env bash
# A throw-away Orthanc, an archive (PACS) with DICOMweb, for the tests: all it writes is in one folder.
#
#   orthanc.sh up FOLDER     bring it up; prints its DICOMweb address
#   orthanc.sh down FOLDER   stop it
#
# Debian's packages, and dicom3tools with its validator, are installed where they are missing, which
# needs root.
set -euo pipefail
command=$1 folder=$2
plugin=/usr/share/orthanc/plugins/libOrthancDicomWeb.so

install_packages() {
    # Installing must not start an archive of the machine's own.
    local policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap "rm $policy" EXIT; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends orthanc orthanc-dicomweb dicom3tools
}

up() {
    if ! { command -v Orthanc && [ -e $plugin ] && command -v dciodvfy; } >/dev/null; then
        [ "$(id -u)" = 0 ] || { echo "Orthanc is not installed, and only root can install it" >&2; exit 1; }
        command -v apt-get >/dev/null || { echo "Orthanc is not installed, and there is no apt-get" >&2; exit 1; }
        install_packages >"$folder/apt.log" 2>&1 || { tail -n 3 "$folder/apt.log" >&2; exit 1; }
    fi
    local ports
    ports=($(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'))
    cat >"$folder/orthanc.json" <<END
{
  "StorageDirectory": "$folder/storage", "IndexDirectory": "$folder/storage",
  "HttpPort": ${ports[0]}, "DicomPort": ${ports[1]},
  "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
  "Plugins": ["$plugin"], "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}
}
END
    Orthanc "$folder/orthanc.json" >"$folder/orthanc.log" 2>&1 &
    echo $! >"$folder/orthanc.pid"
    local url=http://127.0.0.1:${ports[0]}/dicom-web
    for _ in $(seq 150); do
        if python3 -c "import urllib.request as r; r.urlopen('$url/studies')" 2>/dev/null; then
            echo "$url"
            exit 0
        fi
        sleep 0.2
    done
    tail -n 3 "$folder/orthanc.log" >&2
    exit 1
}

down() {
    local process
    process=$(cat "$folder/orthanc.pid" 2>/dev/null) || exit 0
    kill "$process" 2>/dev/null || exit 0
    while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
}

$command
