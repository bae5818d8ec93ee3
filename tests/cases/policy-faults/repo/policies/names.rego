package lockstep

denied contains "no" if input.proposal.number == 0

deny := "no set"
