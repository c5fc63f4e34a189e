package main

import (
	"syscall"
	"time"
)

// A meter measures the wall time and the CPU time of this process since its creation.
type meter struct {
	started time.Time
	cpu     time.Duration
}

func newMeter() meter {
	return meter{cpu: cpu(), started: time.Now()}
}

// read returns the wall time and the CPU time, each in seconds multiplied by unit.
func (m meter) read(unit float64) map[string]float64 {
	return map[string]float64{
		"wall": time.Since(m.started).Seconds() * unit,
		"cpu":  (cpu() - m.cpu).Seconds() * unit,
	}
}

func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
