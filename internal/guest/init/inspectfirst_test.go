package guestinit

import "testing"

// TestOnlyDoor reads tables of Unix sockets as the kernel writes them.
func TestOnlyDoor(t *testing.T) {
	t.Parallel()
	const (
		head   = "Num       RefCount Protocol Flags    Type St Inode Path\n"
		theirs = "0000000000000000: 00000003 00000000 00000000 0001 03 115952448\n"
		ours   = "0000000000000000: 00000003 00000000 00000000 0001 03 115952449 /run/remuda/keeper/door\n"
		other  = "0000000000000000: 00000003 00000000 00000000 0001 03 115952450\n"
	)
	for name, c := range map[string]struct {
		link, table string
		want        bool
	}{
		"both ends":                {"socket:[115952448]", head + theirs + ours, true},
		"both ends, turned":        {"socket:[115952448]", head + ours + theirs, true},
		"another socket beside":    {"socket:[115952448]", head + theirs + ours + other, false},
		"another one in its place": {"socket:[115952450]", head + theirs + ours, false},
		"of another namespace":     {"socket:[7]", head + ours, false},
		"our end has gone":         {"socket:[115952448]", head + theirs, false},
		"one twice":                {"socket:[115952448]", head + theirs + theirs, false},
		"ours":                     {"socket:[115952449]", head + ours + ours, false},
		"no socket":                {"pipe:[115952448]", head + theirs + ours, false},
		"an empty table":           {"socket:[115952448]", head, false},
		"nothing":                  {"", "", false},
		"half a line":              {"socket:[115952448]", head + theirs + "0000000000000000: 00000003", false},
	} {
		if got := onlyDoor(c.link, 115952449, c.table); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
