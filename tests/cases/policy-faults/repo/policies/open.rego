package lockstep

warn contains msg if {
	msg := "x"
