package bus

// positionsMost is how many subjects a viewer keeps a position for.
const positionsMost = 1024

// positions holds the last sequence that a viewer yielded of each subject: the latest
// positionsMost subjects in two halves, of which the older is evicted when the newer
// one is full. A conversation has two subjects per call, so that a map of all
// would grow for as long as the viewer watches.
type positions struct {
	// floor is the position of a subject that is in neither half: where the
	// viewer began, or the highest sequence that was evicted. Nothing of such a
	// subject was yielded after it, and nothing up to it is missing that can still
	// be distinguished from what was yielded.
	floor      uint64
	newer, old map[string]uint64
	// recent is the subject of the last position that was set, and at the position: most
	// messages follow one of their own subject, and need neither half.
	recent string
	at     uint64
}

// last returns the position of a subject: what follows it was not yielded.
func (s *positions) last(subject string) uint64 {
	if subject == s.recent {
		return s.at
	}
	if at, ok := s.newer[subject]; ok {
		return at
	}
	if at, ok := s.old[subject]; ok {
		return at
	}
	return s.floor
}

func (s *positions) set(subject string, sequence uint64) {
	if subject != s.recent && s.recent != "" {
		s.keep(s.recent, s.at)
	}
	s.recent, s.at = subject, sequence
}

// keep puts a position into the newer half.
func (s *positions) keep(subject string, sequence uint64) {
	if _, ok := s.newer[subject]; !ok && len(s.newer) >= positionsMost/2 {
		for evicted, at := range s.old {
			if _, ok := s.newer[evicted]; !ok {
				s.floor = max(s.floor, at)
			}
		}
		s.newer, s.old = nil, s.newer
	}
	if s.newer == nil {
		s.newer = map[string]uint64{}
	}
	s.newer[subject] = sequence
}
