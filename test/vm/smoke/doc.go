// Package smoke runs the main job of the product as a user would, on the
// machine it is started on: the doctor, a server, scripts in fresh sandboxes,
// each limit, usage figures, and the state of the machine afterwards. It takes
// the program from PROGRAM_UNDER_TEST. Its tests carry the build tag vm, because their
// place is the machine of package vm, where all cgroup controllers are on v2.
package smoke
