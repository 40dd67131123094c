package harness

// Try makes one request that may fail, also for want of a server, and decodes
// the answer into out unless it is nil. What the server refused is a Problem.
// It may be called from several goroutines.
func (s *Server) Try(method, path string, in, out any) error {
	_, err := s.call(method, path, in, out)
	return err
}
