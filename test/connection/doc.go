// Package connection opens runspaces with connection scripts on real servers, and looks
// everywhere for the secrets that these had: as a hostile script in the same
// interpreter, and on the machine, in whatever the server keeps. It also changes limits
// while things run, and runs the commands of docs/limits.md and
// docs/connection-scripts.md.
package connection
