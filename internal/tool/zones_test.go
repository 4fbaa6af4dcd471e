package tool

import (
	"testing"
	"time"
)

func TestEveryZoneOfTheListIsKnownToGo(t *testing.T) {
	c := newClock(time.Now)
	if len(c.zones) < 500 {
		t.Fatalf("only %d names", len(c.zones))
	}
	for name, zone := range c.zones {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
