package daemon

import (
	"context"
	"fmt"
	"os"
	"time"
)

// FollowInterval is how often a followed file is looked at.
const FollowInterval = time.Second

// FollowFile calls changed each time that the file at path has changed since
// FollowFile was called, was created or removed, and then stayed the same for one
// interval: a file that is being written is not read. It blocks until ctx ends.
func FollowFile(ctx context.Context, path string, interval time.Duration, changed func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	read := fileStamp(path)
	last := read
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := fileStamp(path)
		if now == last && now != read {
			read = now
			changed()
		}
		last = now
	}
}

// fileStamp returns a text that differs when a file has another content; empty
// when there is none.
func fileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}
