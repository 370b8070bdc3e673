# A container without its engine: in a mount namespace of its own, where everything is read-only but /tmp, which is
# empty, and the working folder; as a user without a home. Run by `unshare --mount`; see tests/install/test_container.py.
#
#   read_only.sh PYTHON BASE SITE WORK SCRIPT
#
# PYTHON runs SCRIPT in WORK with the packages in SITE in front; BASE is where PYTHON was installed.
set -eu
python=$1 base=$2 site=$3 work=$4 script=$5
private=/srv
mount -t tmpfs -o mode=755 none "$private"
mkdir "$private/site" "$private/work" "$private/base"
mount --bind "$site" "$private/site"
mount --bind "$work" "$private/work"
mount --bind "$base" "$private/base"
# A Python in a folder of root's is not reached by others: the first such folder becomes one that holds the Python alone.
closed=$(dirname "$base")
while [ "$closed" != / ] && [ "$(dirname "$closed")" != / ]; do closed=$(dirname "$closed"); done
if ! setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "test -x '$base/bin'"; then
  mount -t tmpfs -o mode=755 none "$closed"
  mkdir -p "$base"
  mount --bind "$private/base" "$base"
fi
mount -t tmpfs -o mode=1777 none /tmp
for at in "$private/site" "$private/base" "$private"; do mount -o remount,ro,bind "$at"; done
mount -o remount,ro,bind /
cd "$private/work"
exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i ${HOMELESS-} PATH=/usr/bin:/bin \
  PYTHONPATH="$private/site" sh -c "$script" sh "$python"
