package remuda

import (
	"bytes"
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

// uuidBytes are what of an identifier is in its UUID: the time and 80 random bits.
const uuidBytes = 16

// UUID returns the first 128 bits of an identifier in the form of a UUID, for edges
// whose clients know no other ids. UUIDs sort as their identifiers do, which is how
// these are found again (UUIDRange). "" when id is not one of NewID's.
func UUID[T ~string](id T) string {
	_, body, _ := strings.Cut(string(id), "_")
	raw, err := idEncoding.DecodeString(body)
	if err != nil || len(raw) != idBodyBytes {
		return ""
	}
	digits := hex.EncodeToString(raw[:uuidBytes])
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// UUIDRange returns the first and the last identifier with the prefix that a UUID
// can stand for. Both are "" when uuid, of digits in either case, is none.
func UUIDRange(prefix, uuid string) (first, last string) {
	if len(uuid) != 36 || uuid[8] != '-' || uuid[13] != '-' || uuid[18] != '-' || uuid[23] != '-' {
		return "", ""
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(raw) != uuidBytes {
		return "", ""
	}
	low, high := make([]byte, idBodyBytes), bytes.Repeat([]byte{0xff}, idBodyBytes)
	copy(low, raw)
	copy(high, raw)
	return prefix + "_" + idEncoding.EncodeToString(low), prefix + "_" + idEncoding.EncodeToString(high)
}
