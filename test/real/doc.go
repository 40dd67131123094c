// Package real runs programs that people really write through the real API:
// worker threads and compression in Node.js, a database with a write-ahead log
// and threads in Python, a pipeline of the usual tools in Bash. Each program
// checks itself and prints what the test compares with what it computes on its
// own.
package real
