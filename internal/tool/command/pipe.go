package command

import (
	"errors"
	"io"
	"os"
	"time"
)

// graceParts is in how many parts the wait for an open pipe is divided, see [pipe.end].
const graceParts = 4

// pipe reads what a program prints. os/exec would do it, but its WaitDelay closes the
// pipe when a time has passed, read or not: a tool worker that was suspended while a
// program ended would lose what the program had printed, and report success.
type pipe struct {
	in, out *os.File // where it is read, and what the program has
	grace   time.Duration
	done    chan struct{}
}

func newPipe(grace time.Duration) (*pipe, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &pipe{in, out, grace, make(chan struct{})}, nil
}

// start reads into w on a goroutine, which [pipe.end] ends. It is called when the
// program has been started. When w fails, the program cannot print any more.
func (p *pipe) start(w io.Writer) {
	_ = p.out.Close() // the program has it
	go func() {
		defer close(p.done)
		defer func() { _ = p.in.Close() }()
		buf := make([]byte, 32<<10)
		for part := 1; ; {
			n, err := p.in.Read(buf)
			if n > 0 {
				if _, failed := w.Write(buf[:n]); failed != nil {
					return
				}
			}
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) && part < graceParts:
				part++
				_ = p.in.SetReadDeadline(time.Now().Add(p.grace / graceParts))
			case err != nil:
				return
			}
		}
	}()
}

// end is called when the program has ended; done is closed when everything was read that
// it printed. A child that it left may keep the pipe open: the reader waits for the
// grace, in parts, and each part begins with a read. So what is in the pipe is read,
// however long this process was suspended meanwhile.
func (p *pipe) end() {
	if p.in.SetReadDeadline(time.Now().Add(p.grace/graceParts)) != nil {
		// Pipes of this system have no deadlines, or it is closed already.
		time.AfterFunc(p.grace, func() { _ = p.in.Close() })
	}
}

// drop closes a pipe of a program that was not started.
func (p *pipe) drop() { _, _ = p.in.Close(), p.out.Close() }
