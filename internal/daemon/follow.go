package daemon

import (
	"context"
	"fmt"
	"os"
	"time"
)

// FollowInterval is how often a followed file is looked at.
const FollowInterval = time.Second

// FollowedFile is a file as it was when it was read.
type FollowedFile struct {
	Path  string
	stamp string
}

// NewFollowedFile is called before the file is read: what changes afterwards, also
// before [FollowedFile.Follow] begins, is a change.
func NewFollowedFile(path string) FollowedFile { return FollowedFile{path, fileStamp(path)} }

// Follow calls changed each time that the file has changed, was created or removed,
// and then stayed the same for one interval: a file that is being written is not read.
// It blocks until ctx ends.
func (f FollowedFile) Follow(ctx context.Context, interval time.Duration, changed func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	read := f.stamp
	last := read
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := fileStamp(f.Path)
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
