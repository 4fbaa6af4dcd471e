package terminal

// mostCalls is how many calls a view remembers: a conversation may make any
// number while it is watched.
const mostCalls = 1024

// recent holds the calls that were shown last, in two halves: when the newer is
// full, the older is dropped. A result that comes later than that is shown like
// one of a call of before the view began.
type recent struct{ newer, older map[string]*call }

// get returns a call, nil when it is not held.
func (c *recent) get(id string) *call {
	if found := c.newer[id]; found != nil {
		return found
	}
	found := c.older[id]
	if found != nil {
		c.set(id, found) // it is in use
	}
	return found
}

func (c *recent) set(id string, to *call) {
	if c.newer[id] == nil && len(c.newer) >= mostCalls/2 {
		c.older, c.newer = c.newer, nil
	}
	if c.newer == nil {
		c.newer = map[string]*call{}
	}
	c.newer[id] = to
}
