"""The verifier's power as a number: faults planted in the kept cells, faults caught."""
