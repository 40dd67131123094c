package attempts

import (
	"errors"
	"sync"
)

// memo is made once and used by several rows. When the row that makes it fails,
// the others fail too, each with the reason.
type memo struct {
	once  sync.Once
	value any
	err   error
}

// shared returns what make returns, from the first row that asks for the key.
func shared[T any](h *house, key string, produce func() (T, error)) (T, error) {
	stored, _ := h.memo.LoadOrStore(key, new(memo))
	m := stored.(*memo)
	m.once.Do(func() {
		m.err = errors.New("what this row rests on failed in another row, whose log says how: " + key)
		m.value, m.err = produce() // which may end the row instead
	})
	value, _ := m.value.(T)
	return value, m.err
}
