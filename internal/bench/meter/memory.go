package meter

import "runtime"

// Memory returns how many bytes of heap and stacks this process uses, after a collection.
func Memory() int64 {
	runtime.GC()
	runtime.GC() // what a finalizer or a pool kept through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
