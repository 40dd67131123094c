package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Where the stages of the boot find each other.
const (
	newRoot     = "/newroot"
	payload     = "/payload"
	self        = payload + "/guest"
	reportPort  = "/dev/ttyS1"
	argMachine  = "machine"
	argSteps    = "steps"
	rootDisk    = "/dev/vda"
	payloadDisk = "/dev/vdb"
)

func main() {
	stage, run := "initramfs", initramfs
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case argMachine:
			stage, run = argMachine, machine
		case argSteps:
			stage, run = argSteps, steps
		}
	}
	err := run()
	if err == nil {
		return
	}
	// The console is the only place left to say it; the host sees a report
	// without an end marker.
	fmt.Fprintf(os.Stderr, "guest: %s: %v\n", stage, err)
	if stage == argSteps {
		os.Exit(1)
	}
	powerOff()
}

func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
