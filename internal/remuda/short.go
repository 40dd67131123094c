package remuda

import (
	"encoding/hex"
	"strings"
)

// ShortLength is the length of a short id.
const ShortLength = 2 * (idBodyBytes - idTimeBytes)

const idTimeBytes = 6

// ShortID returns the random part of an identifier as 32 upper-case hex digits, for
// edges whose clients know no other ids. It is as unique as the identifier, which
// can be found by it again. "" when id is not one of NewID's.
func ShortID[T ~string](id T) string {
	_, body, ok := strings.Cut(string(id), "_")
	if !ok {
		return ""
	}
	raw, err := idEncoding.DecodeString(body)
	if err != nil || len(raw) != idBodyBytes {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString(raw[idTimeBytes:]))
}

// IsShortID reports whether s has the form of a short id.
func IsShortID(s string) bool {
	return len(s) == ShortLength && strings.Trim(s, "0123456789ABCDEF") == ""
}

// ShortTail is the end that every identifier with this short id has, to find it by.
// "" when short is no short id.
func ShortTail(short string) string {
	raw, err := hex.DecodeString(short)
	if err != nil || !IsShortID(short) {
		return ""
	}
	whole := idEncoding.EncodeToString(append(make([]byte, idTimeBytes), raw...))
	return whole[(idTimeBytes*8+4)/5:]
}
