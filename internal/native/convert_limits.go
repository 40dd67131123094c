package native

import (
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func limitsWire(own, inForce remuda.Limits) api.Limits {
	return api.Limits{
		MaxRunspaces: optional(own.MaxRunspaces), MaxRunspacesPerUser: optional(own.MaxRunspacesPerUser),
		IdleTimeoutS: optional(own.IdleTimeout.Seconds()), ActiveTimeoutS: optional(own.ActiveTimeout.Seconds()), MemoryMb: optional(own.MemoryMB),
		KeepExecutions: optional(own.KeepExecutions), KeepForS: optional(own.KeepFor.Seconds()),
		InForce: api.LimitsInForce{
			MaxRunspaces: optional(inForce.MaxRunspaces), MaxRunspacesPerUser: optional(inForce.MaxRunspacesPerUser),
			IdleTimeoutS: optional(inForce.IdleTimeout.Seconds()), ActiveTimeoutS: optional(inForce.ActiveTimeout.Seconds()), MemoryMb: optional(inForce.MemoryMB),
			KeepExecutions: optional(inForce.KeepExecutions), KeepForS: optional(inForce.KeepFor.Seconds()),
		},
	}
}

func limitsPatch(b api.LimitsUpdate) remuda.LimitsPatch {
	return remuda.LimitsPatch{
		MaxRunspaces: b.MaxRunspaces, MaxRunspacesPerUser: b.MaxRunspacesPerUser, IdleTimeout: wholeSeconds(b.IdleTimeoutS),
		ActiveTimeout: wholeSeconds(b.ActiveTimeoutS), MemoryMB: b.MemoryMb, KeepExecutions: b.KeepExecutions, KeepFor: wholeSeconds(b.KeepForS),
	}
}

func wholeSeconds(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Second)
}
