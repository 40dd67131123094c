// Package survive ends real servers, gently and with SIGKILL, and proves what the
// next one finds: runspaces with their variables, scripts that run on with every
// line of output exactly once, what is lost with its reason, and a clean machine
// where nothing was to stay.
//
// Start with world_test.go, which opens runspaces and knows what they must hold.
// kill_test.go kills, stop_test.go stops, ends_test.go looks at what does not come
// back and at what is left, reader_test.go cuts readers off.
package survive
