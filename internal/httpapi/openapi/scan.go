package openapi

import "bytes"

// scanner moves over JSON that is known to be valid. It never runs past the end
// even if it is not.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// kind tells the type of the value that begins at the position.
func (s *scanner) kind() Type {
	if s.pos >= len(s.data) {
		return Null
	}
	switch s.data[s.pos] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Boolean
	case 'n':
		return Null
	}
	end := s.pos
	for end < len(s.data) && !delimiter(s.data[end]) {
		if c := s.data[end]; c == '.' || c == 'e' || c == 'E' {
			return Number
		}
		end++
	}
	return Integer
}

// next moves to the next entry of an object or array, over the comma, and
// reports whether there is one; if not it moves behind the end.
func (s *scanner) next(end byte) bool {
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == ',' {
		s.pos++
		s.space()
	}
	if s.pos >= len(s.data) || s.data[s.pos] == end {
		s.pos++
		return false
	}
	return true
}

// key reads the name of a property and the colon.
func (s *scanner) key() string {
	raw := s.rawString()
	s.space()
	s.pos++ // :
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	return unquote(raw)
}

// rawString moves behind a string and returns what is between its quotes.
func (s *scanner) rawString() []byte {
	s.pos++ // "
	start := s.pos
	for s.pos < len(s.data) {
		i := bytes.IndexByte(s.data[s.pos:], '"')
		if i < 0 {
			break
		}
		end := s.pos + i
		s.pos = end + 1
		slashes := 0
		for end-slashes > start && s.data[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return s.data[start:end]
		}
	}
	s.pos = len(s.data)
	return s.data[min(start, len(s.data)):]
}

func (s *scanner) rawNumber() []byte {
	start := s.pos
	for s.pos < len(s.data) && !delimiter(s.data[s.pos]) {
		s.pos++
	}
	return s.data[start:s.pos]
}

// skip moves behind a value of any kind, however deep.
func (s *scanner) skip() {
	depth := 0
	for {
		s.space()
		if s.pos >= len(s.data) {
			return
		}
		switch s.data[s.pos] {
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			depth--
			s.pos++
		case ',', ':':
			s.pos++
		case '"':
			s.rawString()
		default:
			if len(s.rawNumber()) == 0 {
				s.pos++ // not JSON; go on rather than stand still
			}
		}
		if depth <= 0 {
			return
		}
	}
}

func delimiter(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '}', ']', '{', '[', '"':
		return true
	}
	return false
}
