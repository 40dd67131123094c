// Command guest is the first process of the virtual machine of package vm. It
// mounts what a Debian machine has mounted, works through /payload/steps.json
// and reports each step on the second serial port, then turns the machine off.
//
// It is built static and is started three times: as init of the initial RAM
// file system (find and mount the disks), as process 1 of the real root (reap
// orphans, turn off at the end), and as its child that runs the steps.
package main
