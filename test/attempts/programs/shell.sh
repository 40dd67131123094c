attempt "unshare user" unshare -U true
attempt "unshare mount" unshare -m true
attempt "nsenter" nsenter -t 1 -m true
attempt "mount tmpfs" mount -t tmpfs none /tmp
attempt "mount bind" mount --bind /etc /tmp
attempt "remount root" mount -o remount,rw /
attempt "umount proc" umount -l /proc
attempt "chroot" chroot / true
attempt "mknod" mknod /tmp/disk b 254 0
attempt "swapoff" swapoff -a
attempt "hostname" hostname attempts
attempt "su" su -c true
attempt "setpriv" setpriv --reuid 0 --clear-groups true
attempt "setpriv caps" setpriv --inh-caps +sys_admin --ambient-caps +sys_admin true
attempt "chown root" bash -c 'touch /tmp/own && chown 0:0 /tmp/own'
attempt "dmesg" bash -c 'test -n "$(dmesg 2>/dev/null)"'
attempt "kill first" bash -c 'if [ "$inside" = true ]; then kill -9 1; else kill -0 1; fi'
attempt "write etc" bash -c 'echo x >>/etc/passwd'
attempt "write usr" bash -c 'echo x >/usr/bin/x'
attempt "write sysctl" bash -c ': >/proc/sys/kernel/core_pattern'
attempt "sysrq" bash -c ': >/proc/sysrq-trigger && test "$(stat -c %t:%T /proc/sysrq-trigger)" != 1:3'
attempt "core limit" bash -c 'ulimit -c unlimited'
attempt "process limit" bash -c 'ulimit -u unlimited'
attempt "tcp by bash" timeout 5 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80 || { test $? = 1; false; }'
attempt "udp by bash" timeout 5 bash -c 'echo x >/dev/udp/8.8.8.8/53'
attempt "insmod" bash -c 'modprobe loop || insmod /x.ko'
attempt "taskset of the first" taskset -p 1 1
attempt "renice" renice -n -20 $$
attempt "chrt" chrt -f 1 true
attempt "ionice" ionice -c 1 true
attempt "trap" bash -c 'trap "" TERM; echo trapped'
