# A container without its engine: in a mount namespace of its own, where everything is read-only but /tmp, which is
# empty, and the working folder; as a user without a home. Run by `unshare --mount`; see tests/install/test_container.py.
#
#   read_only.sh PYTHON PREFIX BASE SITE WORK SCRIPT
#
# PYTHON runs SCRIPT in WORK with the packages in SITE in front; PREFIX is its environment, BASE where it was installed.
set -eu
python=$1 prefix=$2 base=$3 site=$4 work=$5 script=$6
private=/srv
mount -t tmpfs -o mode=755 none "$private"
mkdir "$private/site" "$private/work" "$private/base" "$private/prefix"
mount --bind "$site" "$private/site"
mount --bind "$work" "$private/work"
mount --bind "$base" "$private/base"
mount --bind "$prefix" "$private/prefix"
# A Python in a folder of root's is not reached by others: the first such folder becomes one that holds the Python alone.
for at in "$base" "$prefix"; do
  closed=$at
  while [ "$(dirname "$closed")" != / ]; do closed=$(dirname "$closed"); done
  if ! setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "test -x '$at/bin'"; then
    mount -t tmpfs -o mode=755 none "$closed"
  fi
done
mount -t tmpfs -o mode=1777 none /tmp
[ -x "$base/bin" ] || { mkdir -p "$base"; mount --bind "$private/base" "$base"; }
[ -x "$prefix/bin" ] || { mkdir -p "$prefix"; mount --bind "$private/prefix" "$prefix"; }
for at in "$private/site" "$private/base" "$private"; do mount -o remount,ro,bind "$at"; done
mount -o remount,ro,bind /
cd "$private/work"
exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i ${HOMELESS-} PATH=/usr/bin:/bin \
  PYTHONPATH="$private/site" sh -c "$script" sh "$python"
