// Package config holds the settings of the program: what there is, the defaults,
// and how a value is found. A value comes from the default, the file
// (remuda.yaml), a REMUDA_* variable or a flag; the later one wins, and each
// remembers where it came from.
//
// A setting is one field of Config; its tags name it everywhere at once: the key
// "log_level" of the file is the variable REMUDA_LOG_LEVEL and the flag
// --log-level. Unknown keys are errors, never ignored.
//
// It opens no socket and decides nothing about the machine. Start with Config,
// then Load.
package config
