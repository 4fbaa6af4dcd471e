package bus

import "github.com/parleybus/parley/internal/topology"

// Conversation is a conversation's inputs, log and history. Like every handle it
// is made without a request: its methods report whether the conversation exists and
// whether its id is valid.
type Conversation struct {
	bus *Bus
	id  string
}

// Conversation returns the handle of a conversation.
func (b *Bus) Conversation(id string) Conversation { return Conversation{b, id} }

// Lane is one subject of a conversation's log, which has one writer at a time.
type Lane struct {
	bus     *Bus
	address topology.Address
}

// Lane returns the handle of a lane.
func (b *Bus) Lane(a topology.Address) Lane { return Lane{b, a} }

// Shard is what the owner of a shard needs: its log, checkpoint, lease and timers
// that fired.
type Shard struct {
	bus    *Bus
	number int
}

// Shard returns the handle of a shard, numbered from 0.
func (b *Bus) Shard(number int) Shard { return Shard{b, number} }

// Jobs are the work queues of models and tools, and the dead letters.
type Jobs struct{ bus *Bus }

// Jobs returns the handle of the work queues.
func (b *Bus) Jobs() Jobs { return Jobs{b} }

// Presence is which workers are running and what they offer, and the tools that
// are known from workers that have ended.
type Presence struct{ bus *Bus }

// Presence returns the handle of the workers' presence.
func (b *Bus) Presence() Presence { return Presence{b} }

// Timers are the timers of conversations, one each.
type Timers struct{ bus *Bus }

// Timers returns the handle of the timers.
func (b *Bus) Timers() Timers { return Timers{b} }

// Objects are the payloads that are too large for a message.
type Objects struct{ bus *Bus }

// Objects returns the handle of the object store.
func (b *Bus) Objects() Objects { return Objects{b} }

// Hooks are the requests to an app at fixed points of a turn.
type Hooks struct{ bus *Bus }

// Hooks returns the handle of the hooks.
func (b *Bus) Hooks() Hooks { return Hooks{b} }

// Deployment is what operators look at and repair, across all shards.
type Deployment struct{ bus *Bus }

// Deployment returns the handle of the deployment.
func (b *Bus) Deployment() Deployment { return Deployment{b} }
