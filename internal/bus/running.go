package bus

import (
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// runningJob is a job that this process runs, and its latest delivery, by which
// the job is acknowledged or handed back.
type runningJob struct {
	bus *Bus

	mu    sync.Mutex
	msg   jetstream.Msg
	ended bool
}

// join registers a delivery as the one that runs its job. When the job runs here
// already, that run goes on under the new delivery, and joined is true.
func (b *Bus) join(msg jetstream.Msg) (job *runningJob, joined bool) {
	job = &runningJob{bus: b, msg: msg}
	for {
		other, loaded := b.running.LoadOrStore(msg.Subject(), job)
		if !loaded {
			return job, false
		}
		if other.(*runningJob).continueAs(msg) {
			return nil, true
		}
	}
}

func (j *runningJob) continueAs(msg jetstream.Msg) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ended {
		j.msg = msg
	}
	return !j.ended
}

// current is the job's latest delivery.
func (j *runningJob) current() jetstream.Msg {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.msg
}

// end takes the job from the register and returns its latest delivery; the next
// one runs the job anew.
func (j *runningJob) end() jetstream.Msg {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bus.running.CompareAndDelete(j.msg.Subject(), j)
	j.ended = true
	return j.msg
}
