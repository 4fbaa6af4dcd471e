package terminal

// mostCalls bounds the calls that a renderer remembers: a conversation may make
// any number while it is followed.
const mostCalls = 1024

// recent holds the calls that were shown last, in two generations: when the
// newer is full, the older is dropped. A result that arrives later is shown
// like that of a call from before the renderer was created.
type recent struct{ newer, older map[string]*call }

// get returns a call, or nil if it is not held.
func (c *recent) get(id string) *call {
	if found := c.newer[id]; found != nil {
		return found
	}
	found := c.older[id]
	if found != nil {
		c.set(id, found) // move it to the newer generation
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
