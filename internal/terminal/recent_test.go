package terminal

import (
	"fmt"
	"io"
	"testing"
)

func TestAViewRemembersALimitedNumberOfCalls(t *testing.T) {
	r := New(io.Discard, Profile{}, Options{})
	long := r.call("long", "f")
	for i := range 10_000 {
		r.call(fmt.Sprint(i), "g")
		if i%100 == 0 && r.call("long", "") != long {
			t.Fatal("a call in use was evicted")
		}
		if n := len(r.calls.newer) + len(r.calls.older); n > mostCalls {
			t.Fatalf("%d calls are remembered", n)
		}
	}
	if r.calls.get("9999") == nil || r.calls.get("1") != nil {
		t.Error("the last call was evicted, or the first was not")
	}
}
