package command

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// TestWhatAPipeHoldsIsReadAfterTheGrace: a tool worker that is suspended in the moment
// in which its program has ended finds the grace over when it goes on. Before, it then
// closed the pipe, and reported that the program "succeeded and printed nothing" (seed
// 51 of make chaos). Here the reader begins when its first deadline has passed, and a
// child keeps the pipe open.
func TestWhatAPipeHoldsIsReadAfterTheGrace(t *testing.T) {
	p, err := newPipe(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.out.WriteString("looked"); err != nil {
		t.Fatal(err)
	}
	child := p.out
	defer func() { _ = child.Close() }()
	if p.out, err = os.Open(os.DevNull); err != nil { // what start closes
		t.Fatal(err)
	}
	p.end()
	<-time.After(p.grace)
	var out bytes.Buffer
	p.start(&out)
	<-p.done
	if out.String() != "looked" {
		t.Errorf("read %q", out.String())
	}
}
