#!/bin/busybox sh
# The guest's first process: brings up the host's own root file system, read-only under a tmpfs that takes what is
# written, runs the job in it, hands back its exit code through a port, and turns the machine off.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/order

fail() {
  echo "guest: $1" >/dev/kmsg
  poweroff -f
}

# The kernel asks for modules outside the job's root.
mkdir -p /sbin
printf '#!/bin/sh\nexec /bin/chroot /merged /sbin/modprobe "$@"\n' >/sbin/modprobe
chmod 755 /sbin/modprobe

for word in $(cat /proc/cmdline); do
  case $word in guest.job=*) job=${word#guest.job=} ;; esac
done
share=trans=virtio,version=9p2000.L,ro,access=any,cache=loose,msize=524288
mount -t 9p -o "$share" host /host || fail 'the host files cannot be mounted'
mount -t tmpfs -o size=60% tmpfs /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work overlay /merged || fail 'no overlay'

for folder in proc sys dev; do mount --move "/$folder" "/merged/$folder"; done
cd /merged || fail 'no root'
mount -t tmpfs tmpfs run
mkdir -p dev/pts dev/shm run/lock run/netns
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t bpf bpf sys/fs/bpf
mount -t debugfs debugfs sys/kernel/debug
mount -t tracefs tracefs sys/kernel/tracing

# Ports are numbered as the kernel finds their devices; each has a name.
for port in sys/class/virtio-ports/*; do
  case $(cat "$port/name") in
    out) out=dev/${port##*/} ;;
    err) err=dev/${port##*/} ;;
    code) code=dev/${port##*/} ;;
  esac
done
[ -c "$out" ] && [ -c "$err" ] && [ -c "$code" ] || fail 'no ports to speak through'

# One process at a time may open such a port, so the job inherits them open.
chroot /merged /bin/sh "$job" <dev/null >"$out" 2>"$err"
echo "$?" >"$code"
poweroff -f
