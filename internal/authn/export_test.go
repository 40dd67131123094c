package authn

// TryEnter takes a turn at the gate if there is one, and gives it back.
func (h *Hasher) TryEnter() bool {
	ok := h.gate.TryAcquire(1)
	if ok {
		h.gate.Release(1)
	}
	return ok
}

// ParseCost returns the cost that a hash names.
func ParseCost(hash string) (Cost, error) {
	c, _, _, err := parse(hash)
	return c, err
}

// Len returns how many users and addresses are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.debts)
}
