// The operations on locks, events, conditions, semaphores, barriers and queues.

package conformance_test

import (
	"context"
	"errors"
)

func newObject(ctx context.Context, o object) any { return nil }

func (f frame) with(name string, body []op) (*result, error) { return nil, errors.New("later") }
