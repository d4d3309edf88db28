"""`python -m consentgate` is the command `consentgate`."""

from consentgate.cli import main

if __name__ == "__main__":
    main()
