package organizations

// LimitSessions lowers how many sessions a user has, for tests.
func (s *Service) LimitSessions(n int) { s.maxSessions = n }
