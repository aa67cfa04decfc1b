#!/usr/bin/env bash
# How an auditor checks a bundle with standard tools alone. The present folder is empty.
#   audit.sh BUNDLE PUBLIC-KEY cosign|openssl     BUNDLE and PUBLIC-KEY as absolute paths
# Exit codes name the step that failed: 10 signature, 11 names, 12 checksums, 13 form of the archive.
set -euo pipefail
export LC_ALL=C TZ=UTC
bundle=$1
key=$2

tar -xf "$bundle" SHA256SUMS SHA256SUMS.sigstore.json SHA256SUMS.sig || exit 10
if [ "$3" = cosign ]; then
  cosign verify-blob --key "$key" --bundle SHA256SUMS.sigstore.json --insecure-ignore-tlog SHA256SUMS || exit 10
else
  openssl dgst -sha256 -verify "$key" -signature SHA256SUMS.sig SHA256SUMS || exit 10
fi

# The names in the archive are those in the list and the three above, each once, and all are plain files.
{ cut -c 67- SHA256SUMS; printf '%s\n' SHA256SUMS SHA256SUMS.sigstore.json SHA256SUMS.sig; } | sort > ../listed
tar --numeric-owner --full-time -tvf "$bundle" |
  sed -E 's|^-rw-r--r-- 0/0 +[0-9]+ 1970-01-01 00:00:00 ||' | sort | diff - ../listed || exit 11

tar -xf "$bundle" && sha256sum --strict --quiet -c SHA256SUMS || exit 12

# The archive made again from the files is the same, so there is nothing else in it.
tar -tf "$bundle" |
  tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0 -b1 -cf - -T - |
  cmp - "$bundle" || exit 13
