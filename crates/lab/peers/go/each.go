package main

import "sync"

// each runs job(0) to job(n-1) concurrently, at most limit at a time, with a goroutine for each job. After
// an error, it starts no more jobs. It returns the first error. The standard library has no such function;
// golang.org/x/sync has errgroup.Group with SetLimit.
func each(n, limit int, job func(int) error) error {
	var (
		group  sync.WaitGroup
		once   sync.Once
		first  error
		failed = make(chan struct{})
		slots  = make(chan struct{}, limit)
	)
begin:
	for i := 0; i < n; i++ {
		select {
		case <-failed:
			break begin
		case slots <- struct{}{}:
		}
		group.Add(1)
		go func(i int) {
			defer group.Done()
			defer func() { <-slots }()
			if err := job(i); err != nil {
				once.Do(func() {
					first = err
					close(failed)
				})
			}
		}(i)
	}
	group.Wait()
	return first
}
