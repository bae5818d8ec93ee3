package main

deny contains "never asked"
