package remuda

import "time"

// Now is the present moment as it is kept and shown: in UTC, of whole
// microseconds.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
