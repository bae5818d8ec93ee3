package lockstep

# The time is in the input.
deny contains "too late" if time.now_ns() > 0
