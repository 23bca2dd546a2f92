"""What asks: wrk and h2load with their scripts, bursts, and the checker that reads every byte."""
