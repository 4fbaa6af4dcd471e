package bus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleybus/parley/internal/topology"
)

func TestALinkIsNotSteadyWhileAnnouncementsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{}
		l.connected()
		<-time.After(time.Minute)
		ended := l.announcing()
		<-time.After(topology.WorkerBeat / 2)
		if got := l.steady(); got < time.Minute {
			t.Errorf("steady for %v while an announcement is on its way", got)
		}
		ended(true)
		if got := l.steady(); got < time.Minute {
			t.Errorf("steady for %v after an announcement in time", got)
		}
		ended = l.announcing()
		<-time.After(2 * topology.WorkerBeat)
		if got := l.steady(); got != 0 {
			t.Errorf("steady for %v while an announcement waits longer than a beat", got)
		}
		ended(true)
		if got := l.steady(); got != 0 {
			t.Errorf("steady for %v after an announcement that took longer than a beat", got)
		}
		<-time.After(time.Minute)
		l.announcing()(false)
		if got := l.steady(); got != 0 {
			t.Errorf("steady for %v after an announcement that failed", got)
		}
	})
}
