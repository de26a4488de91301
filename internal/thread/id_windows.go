// The thread's number on Windows.

package thread

import "golang.org/x/sys/windows"

func id() int { return int(windows.GetCurrentThreadId()) }
