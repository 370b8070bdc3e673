"""What ``import neurodeploy as nd`` offers; the commands of the command line call the same.

module --nd.export--> Model --compile--> Program --run--> Run, --cost--> Cost, --verify--> Verification --report--> page
"""
