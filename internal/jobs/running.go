package jobs

import (
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Running is the set of jobs that a process runs. A job that is delivered again
// while it runs here continues under the new delivery: subscribers of one queue
// in one process share a set. The zero value is empty.
type Running struct {
	jobs sync.Map // subject to *delivery
}

// delivery is a job that runs, and the message by which it is acknowledged or
// handed back: that of its latest delivery.
type delivery struct {
	set        *Running
	maxDeliver int // deliveries the queue allows; unlimited when not positive

	mu    sync.Mutex
	msg   jetstream.Msg
	ended bool
}

// join registers a message as a job that runs. When the job runs already, that
// run continues under the new message, and joined is true.
func (r *Running) join(msg jetstream.Msg, maxDeliver int) (d *delivery, joined bool) {
	d = &delivery{set: r, maxDeliver: maxDeliver, msg: msg}
	for {
		other, loaded := r.jobs.LoadOrStore(msg.Subject(), d)
		if !loaded {
			return d, false
		}
		if other.(*delivery).continueAs(msg) {
			return nil, true
		}
	}
}

func (d *delivery) continueAs(msg jetstream.Msg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.msg = msg
	}
	return !d.ended
}

// current returns the message of the job's latest delivery.
func (d *delivery) current() jetstream.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.msg
}

// number returns how often the job has been delivered, from 1; 0 when the server
// did not say.
func (d *delivery) number() int {
	meta, err := d.current().Metadata()
	if err != nil {
		return 0
	}
	return int(meta.NumDelivered)
}

// last reports whether the queue does not deliver the job again.
func (d *delivery) last() bool { return d.maxDeliver > 0 && d.number() >= d.maxDeliver }

// end removes the job from the set and returns its latest message; the next
// delivery runs the job again.
func (d *delivery) end() jetstream.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set.jobs.CompareAndDelete(d.msg.Subject(), d)
	d.ended = true
	return d.msg
}
